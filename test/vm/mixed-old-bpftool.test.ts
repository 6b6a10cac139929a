import { checkGuest } from './guest-suite.js';

await checkGuest('mixed-old-bpftool');
