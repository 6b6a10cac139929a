import { checkGuest } from '../vm/guest-suite.js';

await checkGuest('kernel-6.12');
