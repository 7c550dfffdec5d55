/** The `anchor_keys` contract with every provider in a process of its own. */
import '../support/placed-in-processes.js';
import './anchor-keys.test.js';
