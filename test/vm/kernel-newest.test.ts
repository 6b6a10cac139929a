import { checkGuest } from './guest-suite.js';

await checkGuest('kernel-newest');
