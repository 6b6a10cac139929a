/**
 * Real output of four releases of bpftool, of which 5.10 and 7.1 print the same, and 7.5 and 7.8 too. Each test
 * of a parser goes over all of them.
 */
export const RELEASES = {
  '5.10.223': {
    version: '{"version":"5.10.223","features":{"libbfd":false,"skeletons":false}}',
    net: '[{"xdp":[{"devname":"av0","ifindex":2,"mode":"driver","id":686}],"tc":[],"flow_dissector":[]}]',
    program:
      '{"id":296,"type":"xdp","name":"fun_xdp","tag":"c2a4c3283c1951fb","gpl_compatible":true,"loaded_at":1795338069,"uid":0,"bytes_xlated":368,"jited":true,"bytes_jited":217,"bytes_memlock":4096,"map_ids":[126],"btf_id":281}',
  },
  '7.1.0': {
    version:
      '{"version":"7.1.0","libbpf_version":"1.1","features":{"libbfd":false,"libbpf_strict":true,"skeletons":false}}',
    net: '[{"xdp":[{"devname":"av0","ifindex":2,"mode":"driver","id":686}],"tc":[],"flow_dissector":[]}]',
    program:
      '{"id":296,"type":"xdp","name":"fun_xdp","tag":"c2a4c3283c1951fb","gpl_compatible":true,"loaded_at":1795338069,"uid":0,"bytes_xlated":0,"jited":false,"bytes_memlock":4096,"map_ids":[126],"btf_id":281}',
  },
  '7.5.0': {
    version:
      '{"version":"7.5.0","libbpf_version":"1.5","features":{"libbfd":false,"llvm":false,"skeletons":false,"bootstrap":false}}',
    net: '[{"xdp":[{"devname":"av0","ifindex":2,"mode":"driver","id":686}],"tc":[],"flow_dissector":[],"netfilter":[]}]',
    program:
      '{"id":296,"type":"xdp","name":"fun_xdp","tag":"c2a4c3283c1951fb","gpl_compatible":true,"loaded_at":1795338069,"uid":0,"orphaned":false,"bytes_xlated":368,"jited":true,"bytes_jited":217,"bytes_memlock":4096,"map_ids":[126],"btf_id":281}',
  },
  '7.8.0': {
    version:
      '{"version":"7.8.0","libbpf_version":"1.8","features":{"libbfd":false,"llvm":false,"crypto":true,"skeletons":false,"bootstrap":false}}',
    // Without CAP_SYS_ADMIN: an error inside of the array, and status 0.
    net: `[{"xdp":[{"devname":"av0","ifindex":2,"mode":"driver","id":686}],"tc":[],"flow_dissector":[],"netfilter":[{"error":"can't get next link: Operation not permitted (id 0)"}]}]`,
    program:
      '{"id":296,"type":"xdp","name":"fun_xdp","tag":"c2a4c3283c1951fb","gpl_compatible":true,"loaded_at":1795338069,"uid":0,"orphaned":false,"bytes_xlated":368,"jited":true,"bytes_jited":217,"bytes_memlock":4096,"map_ids":[126],"btf_id":281}',
  },
} as const;
