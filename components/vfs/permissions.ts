/** Who may do what with a node: the mode bits, which the kernel checks. */
import type {TreeNode} from './tree.js';

const ownerOnly = 0o700;
const everybody = 0o777;

/** @param isShared directories and data are for all users; control files never are */
export function permissionsOf(node: TreeNode, isShared: boolean): number {
	const who = isShared ? everybody : ownerOnly;
	switch (node.kind) {
		case 'directory': {
			return who & 0o555;
		}

		case 'data': {
			return who & (node.file.writable ? 0o666 : 0o444);
		}

		case 'control': {
			return ownerOnly & (node.file.write ? 0o666 : 0o444);
		}
	}
}

export async function sizeOf(node: TreeNode): Promise<number> {
	return node.kind === 'data' ? node.file.byteLength() : 0;
}
