// Repeats a look at the gateway while its page is shown, and pauses while the browser hides it.

/** Call `look` at once and after each pause, until the signal is aborted. Its failures go to `onProblem`, null after a success. */
export async function poll(look, milliseconds, signal, onProblem) {
  while (!signal.aborted) {
    if (!document.hidden) {
      try {
        await look();
        if (!signal.aborted) onProblem(null);
      } catch (error) {
        if (!signal.aborted) onProblem(error);
      }
    }
    await new Promise((resolve) => {
      const timer = setTimeout(done, milliseconds);
      const shown = () => { if (!document.hidden) done(); };
      function done() {
        clearTimeout(timer);
        signal.removeEventListener("abort", done);
        document.removeEventListener("visibilitychange", shown);
        resolve();
      }
      signal.addEventListener("abort", done);
      document.addEventListener("visibilitychange", shown);
    });
  }
}
