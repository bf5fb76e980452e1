// A user of Open WebUI in a browser: opens the page, sends the message that is in it, and reads on
// until the page says that the answer is complete.
import { chromium } from "playwright-core";

const [url] = process.argv.slice(2);
const { CHROMIUM, SCREENSHOT } = process.env;
const browser = await chromium.launch({
  executablePath: CHROMIUM,
  args: ["--no-sandbox", "--no-proxy-server"],
});
try {
  const tab = await browser.newPage({ viewport: { width: 1000, height: 600 } });
  await tab.goto(url);
  const input = tab.locator("#chat-input");
  await input.filter({ hasText: /\S/ }).waitFor({ timeout: 60_000 });
  await input.press("Enter");
  await tab.getByText("Response complete").waitFor({ state: "attached", timeout: 60_000 });
  await tab.waitForTimeout(500); // the last of the text is drawn after that is said
  await tab.screenshot({ path: SCREENSHOT });
  console.log(JSON.stringify(await tab.evaluate(() => document.body.innerText)));
} finally {
  await browser.close();
}
