// ai with @ai-sdk/openai, whose `chat` asks for chat completions.
import { createOpenAI } from "@ai-sdk/openai";
import { stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

const [url, step] = process.argv.slice(2);
const model = createOpenAI({ baseURL: url, apiKey: "x" }).chat("m1");
const weather = tool({
  description: "The weather in a city.",
  inputSchema: z.object({ city: z.string() }),
  execute: () => "7 degrees",
});
const onError = () => {};

const steps = {
  async stream() {
    const pieces = [];
    const result = streamText({ model, prompt: "Hi" });
    for await (const piece of result.textStream) pieces.push(piece);
    return { pieces, usage: (await result.usage).outputTokens };
  },

  async tools() {
    const result = streamText({
      model,
      prompt: "What is the weather in Köln?",
      tools: { get_weather: weather },
      stopWhen: stepCountIs(3),
    });
    const text = await result.text;
    const [call] = (await result.steps)[0].toolCalls;
    return { tool: call.toolName, arguments: call.input, text };
  },

  async error() {
    for await (const part of streamText({ model, prompt: "Hi", maxRetries: 0, onError }).fullStream)
      if (part.type === "error") {
        const { name, message, statusCode, data } = part.error;
        const { code, param } = data?.error ?? {};
        return { error: name, message, status: statusCode, code, param };
      }
    return {};
  },
};

console.log(JSON.stringify(await steps[step]()));
