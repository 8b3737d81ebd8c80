/** The server's HTTP interface (docs/LIVE.md). */

/** The server refused, or did not answer (`code` "unreachable"). */
export class ApiError extends Error {
  constructor(status, code, message, { retryAfterS = null } = {}) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.code = code;
    this.retryAfterS = retryAfterS;
  }
}

const TOKEN = "tolmach-token";

/** Requests with the session's token; asks for it when the server wants one. */
export class Api {
  #token = sessionStorage.getItem(TOKEN);
  #askToken;
  #asking = null;

  /**
   * @param {(wrong: boolean) => Promise<string|null>} askToken Asks the person; null when they decline.
   * @param {{code?: string|null}} options `code`: a room's, which is shown in place of the token.
   */
  constructor(askToken, { code = null } = {}) {
    this.#askToken = askToken;
    if (code === null) this.#takeFromAddress();
    else this.#token = code;
  }

  /** `#token=…` is taken out of the address, so that it is neither bookmarked nor seen on a shared screen. */
  #takeFromAddress() {
    const fragment = new URLSearchParams(location.hash.slice(1));
    const token = fragment.get("token");
    if (token === null) return;
    fragment.delete("token");
    history.replaceState(null, "", `${location.pathname}${location.search}${fragment.size ? `#${fragment}` : ""}`);
    this.#keep(token);
  }

  #keep(token) {
    this.#token = token;
    sessionStorage.setItem(TOKEN, token);
  }

  /** The token that requests show now, or null: for a WebSocket, which cannot set a header. */
  get token() {
    return this.#token;
  }

  /** The parsed answer of a JSON request; null for 204. */
  async json(method, path, body, options = {}) {
    const response = await this.request(method, path, body, options);
    return response.status === 204 ? null : response.json();
  }

  /**
   * A successful response.
   *
   * @param {{signal?: AbortSignal, timeoutMs?: number, keepalive?: boolean}} options
   * @throws {ApiError} When the server refuses or does not answer in time.
   * @throws {DOMException} AbortError when `signal` is aborted.
   */
  async request(method, path, body, { signal, timeoutMs = 15_000, keepalive = false } = {}) {
    for (;;) {
      const token = this.#token;
      const response = await this.#fetch(method, path, body, { signal, timeoutMs, keepalive, token });
      if (response.ok) return response;
      if (response.status === 401 && !keepalive && (token !== this.#token || (await this.#newToken(token !== null)))) {
        continue;
      }
      throw await refusal(response);
    }
  }

  async #fetch(method, path, body, { signal, timeoutMs, keepalive, token }) {
    const headers = {};
    if (token) headers.Authorization = `Bearer ${token}`;
    if (body !== undefined) headers["Content-Type"] = "application/json";
    const limit = AbortSignal.timeout(timeoutMs);
    try {
      return await fetch(new URL(`api/${path}`, document.baseURI), {
        method,
        headers,
        keepalive,
        body: body === undefined ? undefined : JSON.stringify(body),
        signal: signal ? AbortSignal.any([signal, limit]) : limit,
      });
    } catch (error) {
      signal?.throwIfAborted();
      throw new ApiError(
        0,
        "unreachable",
        limit.aborted ? "The server did not answer in time." : String(error.message),
      );
    }
  }

  /** One dialog for all requests that wait for a token; false when the person declines. */
  async #newToken(wrong) {
    this.#asking ??= this.#askToken(wrong).finally(() => {
      this.#asking = null;
    });
    const token = await this.#asking;
    if (token === null) return false;
    this.#keep(token);
    return true;
  }
}

async function refusal(response) {
  let error = {};
  try {
    error = (await response.json()).error ?? {};
  } catch {
    // A proxy's page, not the server's answer.
  }
  return new ApiError(response.status, error.code ?? "unknown", error.message ?? response.statusText, {
    retryAfterS: error.retry_after_s ?? (Number(response.headers.get("Retry-After")) || null),
  });
}
