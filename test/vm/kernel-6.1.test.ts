import { checkGuest } from './guest-suite.js';

await checkGuest('kernel-6.1');
