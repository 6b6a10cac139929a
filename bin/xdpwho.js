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
    // What builds it is among the packages for development, which a bare installation lacks.
    const place = require('node:path').dirname(__dirname);
    console.error(
      `xdpwho: not built: cd ${place} && npm ci --include=dev && npm run build (needs clang)`,
    );
    process.exitCode = 5;
  }
}
