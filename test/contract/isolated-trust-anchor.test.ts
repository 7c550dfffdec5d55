/** The `trust_anchor` contract with every provider in a process of its own. */
import '../support/placed-in-processes.js';
import './trust-anchor.test.js';
