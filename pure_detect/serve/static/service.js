// What the page asks of the service. Addresses are relative, so that a proxy may put the service under any path.

export const LEAST_SCORE = 0.05; // what the slider cannot reach is not asked for

/** An answer that is no success: the service's own code and line, or what can be said without one. */
export class ServiceError extends Error {
  constructor(code, message, status = 0) {
    super(message.replace(/^(?!https?:)./, (letter) => letter.toUpperCase()));
    this.code = code;
    // Asking again helps where the answer depended on the moment: no answer, a busy service, a page that did not come.
    this.passing = status === 0 || status === 408 || status === 422 || status >= 500;
  }
}

/** Return {default, models: [{name, labels, width, height, ...}]}. */
export async function models(signal) {
  return (await ask("models", { signal })).json();
}

/** Return the objects of a picture that is here, a Blob: [{bbox: [x, y, width, height], confidence, label}]. */
export async function detect(file, model, signal) {
  return (await send(file, { model, score: LEAST_SCORE }, signal)).json();
}

/** Return {detections, image} of a picture that is here: `image` is a data URL of the picture as the service saw it. */
export async function detectAndShow(file, model, signal) {
  return (await send(file, { model, score: LEAST_SCORE, format: "full" }, signal)).json();
}

/** Return the same of a picture elsewhere. */
export async function fetchAndShow(address, model, signal) {
  const query = new URLSearchParams({ model, image_url: address, format: "full", score: LEAST_SCORE });
  return (await ask(`predict/v1?${query}`, { signal })).json();
}

function send(file, query, signal) {
  const headers = { "Content-Type": file.type.startsWith("image/") ? file.type : "application/octet-stream" };
  return ask(`predict/v1?${new URLSearchParams(query)}`, { method: "POST", body: file, headers, signal });
}

async function ask(path, options) {
  let answer;
  try {
    answer = await fetch(path, { ...options, credentials: "same-origin" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServiceError("no_answer", "The service did not answer. It may be starting, or out of reach.");
  }
  if (answer.ok) return answer;
  throw await refusal(answer);
}

async function refusal(answer) {
  let error = {};
  try {
    ({ error = {} } = await answer.json());
  } catch {
    // a proxy in front of the service answers in its own form
  }
  const wait = answer.headers.get("Retry-After") ?? "a few";
  const busy = answer.status === 503 && `The service is busy. Try again in ${wait} seconds.`;
  const message = busy || error.message || "The service refused this.";
  return new ServiceError(error.code ?? `status ${answer.status}`, message, answer.status);
}
