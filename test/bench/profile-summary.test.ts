import test from 'ava';
import {summarizeProfile} from './profile-summary.js';

function node(id: number, functionName: string, url = '') {
	return {id, callFrame: {functionName, url, lineNumber: 6}};
}

test('self times within the window, by place; idle time is none', t => {
	const profile = {
		nodes: [
			node(1, '(idle)'),
			node(2, 'walk', 'file:///p/dist/components/cache/component.js'),
			node(3, '', 'file:///p/node_modules/x/y.js'),
		],
		startTime: 1000,
		samples: [2, 1, 2, 3, 2],
		timeDeltas: [0, 100, 100, 100, 100],
	};
	const {thread, busy, top} = summarizeProfile(profile, {from: 1100, to: 1500});
	t.is(thread, 'cache');
	t.is(busy, 0.5);
	t.deepEqual(top, [
		{place: 'walk components/cache/component.js:7', share: 0.25},
		{place: '(anonymous) node_modules/x/y.js:7', share: 0.25},
	]);
});

test('a thread without components is the supervisor', t => {
	t.is(
		summarizeProfile({nodes: [], startTime: 0, samples: [], timeDeltas: []}, {from: 0, to: 1}).thread,
		'supervisor',
	);
});
