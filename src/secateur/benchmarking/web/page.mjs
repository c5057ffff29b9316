// The page of `secateur benchmark --serve`: loads the models, measures, shows, and reports back.

import {measure, relativeDifference, toJson} from './measure.mjs';
import {browserName, drawChart, median, quartiles, showFacts, showTable, milliseconds} from './view.mjs';

const MIN_SAMPLE_MS = 5; // browsers' clocks are coarse
const REPAINT_MS = 150;
const AGREE = 1e-3;

const $ = (id) => document.getElementById(id);
const text = (id, value) => { $(id).textContent = value; };
const painted = () => new Promise((resolve) => { setTimeout(resolve); });

let litert, job, models, build;

async function prepare() {
  status('loading the models');
  job = await (await get('job.json')).json();
  models = await Promise.all(job.models.map(async (model) => ({
    ...model,
    data: new Uint8Array(await (await get(model.path)).arrayBuffer()),
    inputs: await Promise.all(model.inputs.map(async (input) => (
        {...input, data: await (await get(input.path)).arrayBuffer()}))),
  })));
  status('loading LiteRT.js');
  litert = await import('@litertjs/core');
  await loadEngine();
}

/** Load the build with threads where they are asked for and the browser has them. */
async function loadEngine() {
  if (job.threads > 1 && globalThis.crossOriginIsolated) {
    try {
      await litert.loadLiteRt(job.wasm, {threads: true});
    } catch (error) {
      console.warn(`no threads: ${error}`);
    }
  }
  if (!litert.getGlobalLiteRtPromise()) {
    job.threads = 1;
    await litert.loadLiteRt(job.wasm);
  }
  const scripts = performance.getEntriesByType('resource').map(({name}) => name.split('/').pop());
  build = scripts.findLast((name) => /^litert_wasm.*\.js$/.test(name)) ?? '';
}

async function run() {
  $('again').disabled = true;
  $('progress').classList.remove('done');
  text('eyebrow', 'Measuring on this device');
  const names = models.map(({name}) => name);
  let last = 0;
  const result = await measure(litert, models, {
    ...job,
    minSampleMs: MIN_SAMPLE_MS,
    progress: async ({text: doing, share, samples}) => {
      if (performance.now() - last < REPAINT_MS && share > 0 && share < 1) return;
      status(doing, share);
      if (samples.length === models.length && samples[0].length) {
        show(names, samples);
      }
      await painted();
      last = performance.now();
    },
  });
  $('progress').classList.add('done');
  text('eyebrow', `${result.models[0].samples.length} runs of each model, in turn`);
  show(names, result.models.map(({samples}) => samples));
  report(result, names);
  await send(result);
  $('again').disabled = false;
}

/** The headline and the chart. */
function show(names, samples) {
  const medians = samples.map(median);
  const best = medians.indexOf(Math.min(...medians.slice(1)));
  if (medians.length === 1) {
    text('headline', milliseconds(medians[0]));
    text('subline', `for a run of ${names[0]}`);
  } else {
    const ratio = medians[0] / medians[best];
    text('headline', `${ratio.toFixed(ratio < 10 ? 2 : 1)}× ${ratio < 1 ? 'as fast' : 'faster'}`);
    $('headline').classList.toggle('neutral', ratio < 1.05);
    text('subline', `${names[best]} compared with ${names[0]}: ` +
        `${milliseconds(medians[0])} → ${milliseconds(medians[best])}`);
  }
  drawChart($('chart'), models.map((model, i) => (
      {name: model.name, bytes: model.bytes, samples: samples[i]})));
}

/** The facts and the table below the chart. */
function report(result, names) {
  const facts = [];
  if (models.length > 1) {
    const apart = result.models.slice(1).map(
        (model) => relativeDifference(result.models[0].outputs, model.outputs));
    const worst = apart.includes(null) ? null : Math.max(...apart);
    facts.push(['Outputs', agreement(worst), worst !== null && worst <= AGREE ? 'good' : 'bad']);
  }
  facts.push(['Engine', `LiteRT.js ${job.version}, ${job.builds[build] ?? build}`]);
  facts.push(['Threads', String(job.threads)]);
  facts.push(['Browser', browserName(navigator.userAgent)]);
  facts.push(['Cores', String(navigator.hardwareConcurrency ?? 'unknown')]);
  const repeats = Math.max(...result.models.map((model) => model.repeats));
  if (repeats > 1) facts.push(['Clock', `coarse, so a run is the mean of up to ${repeats}`]);
  showFacts($('facts'), facts);
  const first = median(result.models[0].samples);
  showTable($('table'), ['model', 'times faster', 'median', 'middle half', 'load'],
      result.models.map((model, i) => [
        names[i],
        `${(first / median(model.samples)).toFixed(2)}×`,
        milliseconds(median(model.samples)),
        quartiles(model.samples).map((value) => value.toPrecision(3)).join(' – '),
        milliseconds(model.load_ms),
      ]));
  $('facts-card').hidden = $('table-card').hidden = false;
}

function agreement(difference) {
  if (difference === null) return 'have different shapes, so they were not compared';
  const size = `largest difference ${difference ? difference.toExponential(1) : '0'}, relative`;
  return difference <= AGREE ? `agree: ${size}` :
      `differ: ${size}. Models trained differently do; a sparse copy of the same model must not.`;
}

async function send(result) {
  status('sending the result');
  const body = JSON.stringify({
    ...toJson(result), build, threads: job.threads, agent: browserName(navigator.userAgent),
    cores: navigator.hardwareConcurrency ?? 0,
  });
  const answer = await fetch('result', {method: 'POST', body});
  status(answer.ok ? 'The result is in the terminal.' :
      `The terminal did not take the result: ${await answer.text()}`);
}

function status(value, share = 0) {
  text('status', value);
  $('progress').firstElementChild.style.width = `${Math.round(share * 100)}%`;
}

async function get(path) {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${answer.statusText}`);
  return answer;
}

async function guarded(action) {
  try {
    await action();
  } catch (error) {
    text('eyebrow', 'This did not work');
    text('headline', error?.message ?? String(error));
    $('headline').classList.add('failed');
    text('subline', '');
    $('progress').classList.add('done');
    await fetch('failure', {method: 'POST', body: String(error?.message ?? error)}).catch(() => {});
    status('The terminal was told.');
  }
}

$('again').addEventListener('click', () => guarded(run));
guarded(async () => { await prepare(); await run(); });
