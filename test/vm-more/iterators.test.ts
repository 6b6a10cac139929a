import { checkIterators, ITERATOR_FILES } from '../vm/iterator-suite.js';

await checkIterators(ITERATOR_FILES['vm-more']);
