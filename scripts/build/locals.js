// Marks the local names of a minified script, so that tools/assets can shorten them: `room` becomes `room_0`.
//
//	node build/locals.js <name> < script
//
// It writes JSON: the script, and for each scope the names that it declares, and those from around it that are used within. Before
// each of these names is that of the script. It refuses what esbuild and terser do not make of our sources, instead of a guess.
import { readFileSync } from 'node:fs';
import { parse } from 'acorn';

const REFUSED = /^(FunctionDeclaration|ClassDeclaration|LabeledStatement|ExportNamespaceSpecifier|WithStatement)$/;
const SCOPE = /^(Program|.*Function.*|BlockStatement|For.*Statement|CatchClause|SwitchStatement|StaticBlock)$/;

const text = readFileSync(0, 'utf8');
const scopes = [];
const edits = []; // from where to where, and the text instead

class Scope {
  declared = new Set();
  outer = new Set();

  constructor(around, hoists) {
    this.around = around;
    this.hoists = hoists; // whether a `var` within is declared here
    scopes.push(this);
  }

  declare(names, kind) {
    if (kind == 'var' && !this.hoists) return this.around.declare(names, kind);
    for (const name of names) this.declared.add(name);
  }

  /** Whether a name is local: it or a scope around it declares it. */
  has(name) {
    if (this.declared.has(name)) return true;
    if (!this.around?.has(name)) return false;
    this.outer.add(name);
    return true;
  }
}

const children = (node) => Object.values(node).flat().filter((it) => it?.type);
const isFunction = ({ type }) => type.includes('Function');

/** The names that a pattern binds. */
const bound = (pattern) => {
  if (pattern?.type == 'Identifier') return [pattern.name];
  if (pattern?.type == 'AssignmentPattern') return bound(pattern.left);
  if (pattern?.type == 'Property') return bound(pattern.value);
  return pattern ? children(pattern).flatMap(bound) : [];
};

/** Makes the scopes, with what they declare. */
const declare = (node, scope, around) => {
  if (REFUSED.test(node.type) || (node.type == 'ExportNamedDeclaration' && node.declaration)) throw new Error(node.type);
  const body = node.type == 'BlockStatement' && around && isFunction(around); // has the scope of its function
  if ((SCOPE.test(node.type) && !body) || node.type == 'ClassExpression') scope = node.scope = new Scope(scope, isFunction(node) || !around);
  if (isFunction(node)) scope.declare(node.params.flatMap(bound));
  if (node.type == 'CatchClause') scope.declare(bound(node.param));
  if (node.type == 'VariableDeclaration') scope.declare(node.declarations.flatMap(({ id }) => bound(id)), node.kind);
  if (node.type == 'ImportSpecifier') scope.declare([node.local.name]);
  if (/^(Class|Function)Expression$/.test(node.type)) scope.declare(bound(node.id));
  for (const child of children(node)) declare(child, scope, node);
};

/** Replaces a node by the marked name, if that is local. */
const mark = (node, name, scope, before = '', after = '') => {
  if (scope.has(name)) edits.push([node.start, node.end, before + name + '_0' + after]);
};

/** Marks what is used. */
const visit = (node, around) => {
  const scope = node.scope ?? around;
  if (node.type == 'Identifier') mark(node, node.name, scope);
  else if (node.type == 'ImportSpecifier') mark(node, node.local.name, scope, node.imported.name + ' as ');
  else if (node.type == 'ExportSpecifier') mark(node, node.local.name, scope, '', ' as ' + node.exported.name);
  else if (node.shorthand) {
    mark(node.key, node.key.name, scope, node.key.name + ':');
    if (node.value.right) visit(node.value.right, scope);
  } else if (node.type == 'MetaProperty' || node.type == 'ExportAllDeclaration') return;
  else
    for (const child of children(node)) {
      const name = !node.computed && (child == node.key || (child == node.property && node.type == 'MemberExpression'));
      if (!name) visit(child, scope);
    }
};

const program = parse(text, { ecmaVersion: 2022, sourceType: 'module' });
declare(program);
visit(program);

let script = '';
let end = 0;
for (const [from, to, instead] of edits.sort(([a], [b]) => a - b)) {
  script += text.slice(end, from) + instead;
  end = to;
}
script += text.slice(end);
const names = (set) => [...set].map((name) => `${process.argv[2]}: ${name}_0`);
process.stdout.write(JSON.stringify({ script, scopes: scopes.map(({ declared, outer }) => ({ declared: names(declared), outer: names(outer) })) }));
