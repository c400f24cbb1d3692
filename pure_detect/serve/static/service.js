// What the page asks of the service. Addresses are relative, so that a proxy may put the service under any path.

export const LEAST_SCORE = 0.05; // what the slider cannot reach is not asked for

/** An answer that is no success: the service's own code and line, or what can be said without one. */
export class ServiceError extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

/** Return {default, models: [{name, labels, width, height, ...}]}. */
export async function models(signal) {
  return (await ask("models", { signal })).json();
}

/** Return the objects of a picture that is here, a Blob: [{bbox: [x, y, width, height], confidence, label}]. */
export async function detectFile(file, model, signal) {
  const query = new URLSearchParams({ model, score: LEAST_SCORE });
  const headers = { "Content-Type": file.type.startsWith("image/") ? file.type : "application/octet-stream" };
  return (await ask(`predict/v1?${query}`, { method: "POST", body: file, headers, signal })).json();
}

/** Return {model, width, height, detections, image} of a picture elsewhere; `image` is a data URL. */
export async function detectAddress(address, model, signal) {
  const query = new URLSearchParams({ model, image_url: address, format: "full", score: LEAST_SCORE });
  return (await ask(`predict/v1?${query}`, { signal })).json();
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
  const wait = answer.headers.get("Retry-After");
  const busy = answer.status === 503 && `The service is busy. Try again in ${wait ?? "a few"} seconds.`;
  return new ServiceError(error.code ?? `status ${answer.status}`, busy || error.message || "The service refused this.");
}
