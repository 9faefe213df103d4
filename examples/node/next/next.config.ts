// Left where it is installed: it has a native part, which Next cannot bundle.
export default { serverExternalPackages: ["@shm-polyglot/protocol"] };
