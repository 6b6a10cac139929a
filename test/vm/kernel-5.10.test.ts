import { checkGuest } from './guest-suite.js';

await checkGuest('kernel-5.10');
