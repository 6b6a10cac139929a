import { checkGuest } from '../vm/guest-suite.js';

await checkGuest('mixed-new-bpftool');
