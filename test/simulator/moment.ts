/** Counts the events of a history: what happened before what. */
export type Moment = number;
