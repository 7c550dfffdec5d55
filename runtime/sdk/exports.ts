/** What components outside of this project import as "cbe/sdk"; contracts are in "cbe/sessions/NAME". */
export * from './component.js';
export * from './session.js';
export {z} from 'zod';
