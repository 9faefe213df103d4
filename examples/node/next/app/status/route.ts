import { bridge } from "../../bridge";

export async function GET(): Promise<Response> {
  const { connections } = await bridge();
  return Response.json({ connections: connections.length });
}
