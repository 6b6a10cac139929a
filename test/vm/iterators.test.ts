import { checkIterators, ITERATOR_FILES } from './iterator-suite.js';

await checkIterators(ITERATOR_FILES.vm);
