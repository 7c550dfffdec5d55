import test from 'ava';
import {Pace} from './pace.js';

test('one slow piece of work hands over the next ones, many quick ones in a row bring them back', t => {
	const pace = new Pace({atOnceMsMax: 1, handedOverMsMax: 2});
	pace.tookAtOnce(1);
	t.true(pace.isQuick);
	pace.tookAtOnce(1.1);
	t.false(pace.isQuick);
	for (let i = 0; i < 15; i++) {
		pace.tookHandedOver(2);
	}

	pace.tookHandedOver(2.1);
	for (let i = 0; i < 15; i++) {
		pace.tookHandedOver(0);
	}

	t.false(pace.isQuick);
	pace.tookHandedOver(0);
	t.true(pace.isQuick);
});
