/** Python files that have no declarations of their own: `shm-polyglot types` writes those. */
declare module "*.py";
