/** Checks blocks against their labels on a thread of its own. */
import {mismatchedBlocks, type LabelTask} from './label-task.js';

export default function checkLabels(task: LabelTask): number[] {
	return mismatchedBlocks(task);
}
