/** The device broke a promise. Whoever runs the simulator sees the seed beside it. */
export class SimulationFailure extends Error {
	override readonly name = 'SimulationFailure';
}
