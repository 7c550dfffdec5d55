/**
 * A deployment file for the real program: one small device on an image, with its trust anchor, on an NBD socket, and
 * tools.
 */

export interface DeviceDeployment {
	/** The trust anchor's component. */
	readonly anchor?: string;
	/** Attributes of the anchor's `<config>` beside its path, as XML. */
	readonly anchorConfig?: string;
	/** Attributes of `<create>`, as XML. */
	readonly create: string;
	/** Components that start by `runtime run` only. */
	readonly tools?: readonly string[];
}

/** The image is `cbe.img`, the anchor's directory `trust_anchor`, the socket `nbd.sock`, all in the state directory. */
export function deviceDeployment({
	anchor = 'trust_anchor_file',
	anchorConfig = '',
	create,
	tools = [],
}: DeviceDeployment): string {
	const onImage = '<route><service name="block"><child name="block_file"/></service></route>';
	return `<config>
	<default-route><any-service><parent/><any-child/></any-service></default-route>
	<default ram="96M"/>
	<start name="block_file"><binary name="block_file"/><provides><service name="block"/></provides><config path="cbe.img" create="yes"/></start>
	<start name="crypto"><binary name="crypto_openssl"/><provides><service name="crypto"/></provides></start>
	<start name="trust_anchor"><binary name="${anchor}"/><provides><service name="trust_anchor"/></provides><config path="trust_anchor" ${anchorConfig}/></start>
	<start name="cache"><binary name="cache"/><provides><service name="cache"/></provides><config size="8M"/>${onImage}</start>
	<start name="free_tree"><binary name="free_tree"/><provides><service name="free_tree"/></provides></start>
	<start name="virtual_block_device"><binary name="virtual_block_device"/><provides><service name="virtual_block_device"/></provides>${onImage}</start>
	<start name="superblock_control"><binary name="superblock_control"/><provides><service name="block"/><service name="device_control"/></provides>
		<config><create ${create}/></config>${onImage}</start>
	<start name="nbd"><binary name="nbd"/><resource name="RAM" quantum="192M"/><config><unix path="nbd.sock"/></config>
		<route><service name="block" label="device"><child name="superblock_control"/></service></route></start>
${tools.map(name => `\t<start name="${name}"><binary name="${name}"/>${onImage}</start>\n`).join('')}</config>`;
}
