#!/usr/bin/env node
// ES2018 and a dynamic import: a Node too old for the program must still get as far as the message.
const [major, minor] = process.versions.node.split('.').map(Number);

if (major < 18 || (major === 18 && minor < 19)) {
  console.error(`xdpwho: node ${process.version} is too old: 18.19 or newer is needed`);
  process.exitCode = 5;
} else {
  import('../dist/main.mjs').catch((error) => {
    if (error.code !== 'ERR_MODULE_NOT_FOUND') throw error;
    console.error('xdpwho: not built yet: run `npm run build`');
    process.exitCode = 5;
  });
}
