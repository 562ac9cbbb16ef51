// Makes the declarations of the sources that tsconfig.json names, without what is private: names that end in an underscore.
//
//	node build/declarations.js [folder]
import { writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const root = fileURLToPath(new URL('..', import.meta.url));
const out = process.argv[2] ?? root;

const { options, fileNames } = ts.getParsedCommandLineOfConfigFile(join(root, 'tsconfig.json'), {}, { ...ts.sys, onUnRecoverableConfigFileDiagnostic: fail });
const host = ts.createCompilerHost(options);
const { fileExists } = host;
host.fileExists = (file) => fileExists(file) && (file.includes('node_modules') || !file.endsWith('.d.ts')); // those that are there are old

/** @param {ts.Diagnostic | readonly ts.Diagnostic[]} diagnostics */
function fail(diagnostics) {
  console.error(ts.formatDiagnostics([diagnostics].flat(), ts.createCompilerHost({})));
  process.exit(1);
}

/** Leaves out private members, and imports, since only these need them. @type {ts.TransformerFactory<ts.SourceFile | ts.Bundle>} */
const withoutPrivate = (context) => {
  const visit = (/** @type {ts.Node} */ node) =>
    ts.isImportDeclaration(node) || (ts.isClassElement(node) && node.name && ts.isIdentifier(node.name) && node.name.text.endsWith('_')) ? undefined : ts.visitEachChild(node, visit, context);
  return (file) => ts.visitEachChild(file, visit, context);
};

const program = ts.createProgram(fileNames, options, host);
const diagnostics = ts.getPreEmitDiagnostics(program);
if (diagnostics.length) fail(diagnostics);
/** @type {Record<string, string>} */
const texts = {};
program.emit(undefined, (file, text) => (texts[basename(file)] = text), undefined, true, { afterDeclarations: [withoutPrivate] });

// realtime.d.ts stands alone, so that a page can copy it: what the module exports of another file is in it.
const error = texts['errors.d.ts'].replaceAll(/import\(['"]\.\/realtime\.js['"]\)\./g, '').replace(/^\/\*\*.*?@module\s+\*\/\n|^export \{\};\n/gms, '');
texts['realtime.d.ts'] = error + texts['realtime.d.ts'].replace(/^export \{ RealtimeError \}.*\n/gm, '');
for (const file of fileNames) {
  const name = basename(file, '.js') + '.d.ts';
  writeFileSync(join(out, name), texts[name].replace(/(export \{\};\n)?$/, 'export {};\n')); // or else all of it would be exported
}
