import { Server, ServerCredentials } from "@grpc/grpc-js";
import { ResourceProviderService } from "@pulumi/pulumi/proto/provider_grpc_pb";
import { service } from "./service";
import { Work } from "./work";

/** The largest message, in bytes: what the engine itself allows. */
const LARGEST_MESSAGE = 400 * 1024 * 1024;

/** How long running commands may take to end once the engine is gone, in milliseconds; it kills us 5 s after its SIGINT. */
const FAREWELL = 4000;

/** How often to look whether the engine is still there, in milliseconds. */
const PULSE = 1000;

/** Serves until the engine says goodbye or is gone. The engine reads the port from the first line on stdout. */
function main(): void {
  const work = new Work();
  // The engine's flags start with a dash; the one bare argument is its own address.
  const engineAddress = process.argv.slice(2).find((argument) => !argument.startsWith("-"));
  const server = new Server({
    "grpc.max_receive_message_length": LARGEST_MESSAGE,
    "grpc.max_send_message_length": LARGEST_MESSAGE,
  });
  server.addService(ResourceProviderService, service(engineAddress, work));

  const leave = (reason: string): void => {
    clearInterval(pulse);
    work.end(new Error(reason));
    setTimeout(() => process.exit(0), FAREWELL);
    void work.whenIdle().then(() => process.exit(0));
  };
  // The engine interrupts its plugins when it is done with them.
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.once(signal, () => {
      leave("the provider was asked to stop");
    });
  }
  // An engine that was killed can't; its children then get another parent.
  const engine = process.ppid;
  const pulse = setInterval(() => {
    if (process.ppid !== engine) leave("the engine is gone");
  }, PULSE);

  server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, port) => {
    if (error) throw error;
    process.stdout.write(`${port}\n`);
  });
}

main();
