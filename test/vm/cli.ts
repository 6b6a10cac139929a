import { main, start } from './run.js';

start(main(process.argv.slice(2)));
