import { checkGuest } from '../vm/guest-suite.js';

await checkGuest('mixed-old-bpftool');
