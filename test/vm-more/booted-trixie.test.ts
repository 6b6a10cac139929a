import { bootedSuite } from '../vm/booted-suite.js';

bootedSuite('trixie');
