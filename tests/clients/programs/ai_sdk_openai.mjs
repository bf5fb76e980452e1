// ai with @ai-sdk/openai, whose `chat` asks for chat completions.
import { createOpenAI } from "@ai-sdk/openai";
import { embedMany, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

const [url, step] = process.argv.slice(2);
const provider = createOpenAI({ baseURL: url, apiKey: "x" });
const model = provider.chat("m1");
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

  async embed() {
    const values = ["a cat", "a dog"];
    const { embeddings } = await embedMany({
      model: provider.embedding("tokenflow-embedder"),
      values,
    });
    return { sizes: embeddings.map((vector) => vector.length) };
  },
};

console.log(JSON.stringify(await steps[step]()));
