/** Ciphers whose own speed is measured: those of the assemblies that the bench compares. */
export const measuredCiphers = ['aes-256-xts', 'aes-256-gcm'] as const;

export type MeasuredCipher = (typeof measuredCiphers)[number];

/** What a worker shall do. */
export interface CipherWork {
	/** `seal` encrypts and labels; `open` compares with the label and decrypts. */
	readonly direction: 'seal' | 'open';
	readonly cipher: MeasuredCipher;
	readonly milliseconds: number;
}
