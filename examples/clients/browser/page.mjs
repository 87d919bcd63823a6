// Fetches a resource from a gateway and shows it only if a quorum stands behind it.

import { connect, moment, pastedPolicy, show } from "../../../crates/gateway/ui/checker.mjs";
import { NotVerified, sentence } from "../../../crates/gateway/ui/verify.mjs";
import { Refused, fetchVerified } from "../javascript/fetch.mjs";

const asker = document.getElementById("asker");
const output = asker.querySelector("output");
const content = document.getElementById("content");

asker.addEventListener("submit", async (event) => {
  event.preventDefault();
  const { policy, url } = Object.fromEntries(new FormData(asker));
  content.textContent = "";
  try {
    const { verdict, response } = await fetchVerified(url, { policy: pastedPolicy(policy) });
    const details = [["status", response.status], ["agreed at", moment(verdict.time)]];
    show(output, { good: true, text: sentence(verdict), details });
    content.textContent = new TextDecoder().decode(response.body);
  } catch (error) {
    show(output, { good: false, ...described(error) });
  }
});

function described(error) {
  if (error instanceof NotVerified) {
    return { text: `not verified: ${error.message}`, details: [["code", error.code]] };
  }
  if (error instanceof Refused) {
    return { text: `refused: ${error.message}`, details: [["code", error.code]] };
  }
  // A browser does not tell a page why: no gateway there, or none that answers pages from here.
  return { text: `no answer: ${error.message}`, details: [] };
}

connect(document.getElementById("checker"));
