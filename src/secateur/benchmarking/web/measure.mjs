// Times .tflite models in turn with LiteRT.js. Runs in Node (node.mjs) and in a browser (page.mjs).

// The types of inputs that LiteRT.js knows; it refuses models with others.
const ARRAYS = {float32: Float32Array, int32: Int32Array, uint8: Uint8Array};

/**
 * Load the models, run them in turn, and return what was measured.
 *
 * @param litert The module @litertjs/core, its WebAssembly already loaded.
 * @param models [{name, data: Uint8Array, inputs: [{name, dtype, shape, data: ArrayBuffer}],
 *     outputs: [{name}]}]
 * @param options runs and warmup a model, threads; minSampleMs: where the clock is coarse, as in
 *     browsers, a sample is the mean of so many runs that it lasts at least this long; progress:
 *     called and waited for with {text, share, samples}: what is going on, how far it is, 0 to 1,
 *     and the samples of each model so far.
 * @return {models: [{load_ms, samples, repeats, outputs: [{dtype, shape, data}]}]}
 */
export async function measure(litert, models, options) {
  const {runs, warmup, threads = 1, minSampleMs = 0, progress = () => {}} = options;
  const loaded = [];
  const tell = (text, share) => (
      progress({text, share, samples: loaded.map((entry) => entry.samples)}));
  await tell('loading', 0);
  // The first load prepares the engine; it would count against the first model.
  await naming(models[0], async () => { (await load(litert, models[0], threads)).free(); });
  for (const model of models) {
    await tell(`loading ${model.name}`, 0);
    loaded.push(await naming(model, () => load(litert, model, threads)));
  }
  for (const entry of loaded) {
    await tell(`warming up ${entry.name}`, 0);
    await naming(entry, async () => {
      const fastest = await warmUp(entry, Math.max(warmup, 1));
      entry.repeats = Math.max(1, Math.ceil(minSampleMs / Math.max(fastest, 1e-3)));
    });
  }
  for (let round = 0; round < runs; round++) {
    await tell(`run ${round + 1} of ${runs}`, round / runs);
    for (let turn = 0; turn < loaded.length; turn++) {
      const entry = loaded[(round + turn) % loaded.length]; // none is always first
      entry.samples.push(await time(entry, entry.repeats));
    }
  }
  await tell('done', 1);
  for (const entry of loaded) entry.free();
  return {models: loaded.map(({load_ms, samples, repeats, outputs}) => (
      {load_ms, samples, repeats, outputs}))};
}

/** The largest difference of two models' outputs, relative to the largest value of the first. */
export function relativeDifference(first, other) {
  if (first.length !== other.length) return null;
  let worst = 0;
  for (let i = 0; i < first.length; i++) {
    const a = first[i].data, b = other[i].data;
    if (a.length !== b.length) return null;
    let scale = 0, apart = 0;
    for (let j = 0; j < a.length; j++) {
      const gap = Math.abs(a[j] - b[j]);
      if (Number.isNaN(gap)) return Infinity;
      scale = Math.max(scale, Math.abs(a[j]));
      apart = Math.max(apart, gap);
    }
    if (apart > 0) worst = Math.max(worst, apart / scale);
  }
  return worst;
}

/** What the report needs of a measurement, as plain JSON: the outputs in base64. */
export function toJson(result) {
  return {
    ...result,
    models: result.models.map((model) => ({
      ...model,
      outputs: model.outputs.map(({dtype, shape, data}) => (
          {dtype, shape, data: base64(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))})),
    })),
  };
}

async function load(litert, model, threads) {
  const start = performance.now();
  const compiled = await litert.loadAndCompile(
      model.data, {accelerator: 'wasm', cpuOptions: {numThreads: threads}});
  const load_ms = performance.now() - start;
  const named = {};
  for (const {name, dtype, shape, data} of model.inputs) {
    named[name] = new litert.Tensor(new ARRAYS[dtype](data), shape);
  }
  const inputs = compiled.getInputDetails().map(({name}, place) => (
      named[name] ?? Object.values(named)[place]));
  const order = model.outputs.map(({name}) => name);
  const free = () => { inputs.forEach((tensor) => tensor.delete()); compiled.delete(); };
  return {name: model.name, compiled, inputs, order, load_ms, samples: [], repeats: 1, free};
}

/** Run a model for the first time, keep its outputs, and return the fastest run in ms. */
async function warmUp(entry, runs) {
  const names = entry.compiled.getOutputDetails().map(({name}) => name);
  const results = await entry.compiled.run(entry.inputs);
  const places = entry.order.map((name, place) => names.includes(name) ? names.indexOf(name) : place);
  entry.outputs = places.map((place) => ({
    dtype: results[place].type.dtype,
    shape: Array.from(results[place].type.layout.dimensions),
    data: results[place].toTypedArray().slice(),
  }));
  results.forEach((tensor) => tensor.delete());
  let fastest = Infinity;
  for (let i = 0; i < runs; i++) fastest = Math.min(fastest, await time(entry, 1));
  return fastest;
}

async function time(entry, repeats) {
  const start = performance.now();
  for (let i = 0; i < repeats; i++) {
    const results = await entry.compiled.run(entry.inputs);
    for (const tensor of results) tensor.delete();
  }
  return (performance.now() - start) / repeats;
}

async function naming(model, action) {
  try {
    return await action();
  } catch (error) {
    throw new Error(`${model.name}: ${error?.message ?? error}`);
  }
}

function base64(bytes) {
  let text = '';
  for (let i = 0; i < bytes.length; i += 0x8000) {
    text += String.fromCharCode(...bytes.subarray(i, i + 0x8000));
  }
  return btoa(text);
}
