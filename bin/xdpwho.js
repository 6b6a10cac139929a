#!/usr/bin/env node
// A Node too old for the program must still run this file, so that it prints the message.
const [major, minor] = process.versions.node.split('.').map(Number);

if (major < 18 || (major === 18 && minor < 19)) {
  console.error(`xdpwho: node ${process.version} is too old: 18.19 or newer is needed`);
  process.exitCode = 5;
} else {
  start();
}

function start() {
  try {
    require('../dist/main.cjs');
  } catch (error) {
    if (error.code !== 'MODULE_NOT_FOUND') throw error;
    console.error('xdpwho: not built yet: run `npm run build`');
    process.exitCode = 5;
  }
}
