/** The `crypto` contract with every provider in a process of its own. */
import '../support/placed-in-processes.js';
import './crypto.test.js';
