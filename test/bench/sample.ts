/** Figures as `bench` has them. */

export const around = (median: number, by: number) => ({
  median,
  lower: median - by,
  upper: median + by,
});

export const COST = {
  case: 'ipv4',
  returned: 'XDP_PASS',
  program_ns: around(60, 2),
  empty_ns: around(20, 1),
  added_ns: around(40, 3),
  ratio: around(3, 0.2),
};

export const LIVE_COST = {
  interface: 'eth0',
  mode: 'native' as const,
  program: 'xdpwho',
  program_id: 7,
  seconds: 10,
  packets: 12_345,
  packets_per_second: 1234.5,
  program_ns: around(80, 5),
  cpu_percent: 0.01,
};
