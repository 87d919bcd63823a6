// node browse.mjs URL
//
// Opens the diary in a headless Chromium (the installed one, or $QUORATE_CHROMIUM), and prints what
// stands on the page.

import { findBrowser, openPage } from "../../../crates/gateway/ui/chromium.mjs";

const page = await openPage(findBrowser(), process.argv[2]);
try {
  const text = 'document.getElementById("shown").textContent';
  await page.until(`${text} !== ".."`);
  console.log(await page.run(text));
} finally {
  await page.close();
}
