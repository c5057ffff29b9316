// node node.mjs JOB.json: times models in Node and writes what it measured to the job's "result".
//
// LiteRT.js is made for browsers: it loads its WebAssembly by importScripts, which Node lacks.

import fs from 'node:fs';
import path from 'node:path';
import {createRequire} from 'node:module';
import {pathToFileURL} from 'node:url';

import {measure, toJson} from './measure.mjs';

const job = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
const core = path.join(job.litertjs, 'node_modules', '@litertjs', 'core');
let build = '';

globalThis.self = globalThis;
globalThis.importScripts = (script) => {
  build = path.basename(script);
  const module = {exports: {}};
  const wrapper = new Function(
      'require', 'module', 'exports', '__filename', '__dirname', fs.readFileSync(script, 'utf8'));
  wrapper(createRequire(script), module, module.exports, script, path.dirname(script));
  globalThis.ModuleFactory = module.exports;
};
globalThis.navigator ??= {}; // LiteRT.js looks there for a GPU
console.log = console.info = console.debug = () => {}; // LiteRT's chatter; stdout is ours

const read = (file) => new Uint8Array(fs.readFileSync(file)).buffer;
const progress = ({text}) => { process.stdout.write(`${text}\n`); };
let result;

try {
  progress({text: 'loading LiteRT.js'});
  const litert = await import(pathToFileURL(path.join(core, 'dist', 'index.js')));
  await litert.loadLiteRt(path.join(core, 'wasm') + path.sep);
  const models = job.models.map((model) => ({
    ...model,
    data: new Uint8Array(read(model.path)),
    inputs: model.inputs.map((input) => ({...input, data: read(input.path)})),
  }));
  const measured = await measure(litert, models, {runs: job.runs, warmup: job.warmup, progress});
  result = {...toJson(measured), build, node: process.version};
} catch (error) {
  result = {error: error?.message ?? String(error)};
}
fs.writeFileSync(job.result, JSON.stringify(result));
process.exit();
