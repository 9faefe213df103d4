/** To be imported before all else: what an older Node has not got fails anywhere, and says something else. */

const OLDEST_NODE = 20;

const { node } = process.versions;
// Python looks for this sentence: shm_protocol/python/shm_protocol/node_package.py.
if (Number.parseInt(node, 10) < OLDEST_NODE) throw new Error(`Node ${OLDEST_NODE} or newer is needed (this is ${node})`);
