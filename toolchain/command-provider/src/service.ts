import { type sendUnaryData, type ServerUnaryCall, status, type UntypedServiceImplementation } from "@grpc/grpc-js";
import { type PluginAttach, PluginInfo } from "@pulumi/pulumi/proto/plugin_pb";
import * as proto from "@pulumi/pulumi/proto/provider_pb";
import { Empty } from "google-protobuf/google/protobuf/empty_pb";
import { Struct } from "google-protobuf/google/protobuf/struct_pb";
import { check } from "./check";
import { type Change, diff } from "./diff";
import { engineLog, type Log } from "./engine-log";
import { type Context, create, remove, update } from "./operations";
import type { Properties } from "./values";
import type { Work } from "./work";

/** The one resource this provider has. */
export const COMMAND = "command:remote:Command";

/** The version of the official plugin whose behaviour this one follows, and whose place it takes. */
export const VERSION = "1.2.1";

/** The gRPC service the engine talks to. Methods left out answer "unimplemented", which the engine knows how to take. */
export function service(engineAddress: string | undefined, work: Work): UntypedServiceImplementation {
  let log = engineAddress === undefined ? silent : engineLog(engineAddress);

  const operation = async <T>(urn: string, seconds: number, run: (context: Context) => Promise<T>): Promise<T> => {
    refuseOthers(urn);
    return work.run(seconds, (signal) => run({ urn, signal, log }));
  };
  return {
    attach: unary((request: PluginAttach) => {
      log = engineLog(request.getAddress());
      return new Empty();
    }),
    getPluginInfo: unary(() => new PluginInfo().setVersion(VERSION)),
    configure: unary(() => new proto.ConfigureResponse().setAcceptsecrets(true).setSupportspreview(true)),
    check: unary((request: proto.CheckRequest) => {
      refuseOthers(request.getUrn());
      const { inputs, failures } = check(properties(request.getNews()));
      const response = new proto.CheckResponse().setInputs(struct(inputs));
      // With the property's name the engine would print its value, private key and all.
      for (const reason of failures) response.addFailures(new proto.CheckFailure().setReason(reason));
      return response;
    }),
    diff: unary((request: proto.DiffRequest) => {
      refuseOthers(request.getUrn());
      return differences(properties(request.getOldInputs()), properties(request.getNews()));
    }),
    create: unary((request: proto.CreateRequest) =>
      operation(request.getUrn(), request.getTimeout(), async (context) => {
        const { id, state } = await create(properties(request.getProperties()), request.getPreview(), context);
        return new proto.CreateResponse().setId(id).setProperties(struct(state));
      }),
    ),
    update: unary((request: proto.UpdateRequest) =>
      operation(request.getUrn(), request.getTimeout(), async (context) => {
        const news = properties(request.getNews());
        const state = await update(properties(request.getOlds()), news, request.getPreview(), context);
        return new proto.UpdateResponse().setProperties(struct(state));
      }),
    ),
    delete: unary((request: proto.DeleteRequest) =>
      operation(request.getUrn(), request.getTimeout(), async (context) => {
        await remove(properties(request.getProperties()), context);
        return new Empty();
      }),
    ),
    read: unary((request: proto.ReadRequest) => {
      refuseOthers(request.getUrn());
      const state = properties(request.getProperties());
      // A command can't be read back, so a refresh keeps what is known; an import has nothing to keep.
      if (!("connection" in state)) throw new Error(`a ${COMMAND} can't be imported or looked up, only created`);
      return new proto.ReadResponse()
        .setId(request.getId())
        .setProperties(struct(state))
        .setInputs(struct(properties(request.getInputs())));
    }),
    cancel: unary(() => {
      work.end(new Error("cancelled"));
      return new Empty();
    }),
  };
}

const silent: Log = { status: () => undefined, warn: () => undefined, flush: () => Promise.resolve() };

/** Makes a gRPC method of a function: what it throws becomes the error the engine shows. */
function unary<Request, Response>(method: (request: Request) => Response | Promise<Response>) {
  return (call: ServerUnaryCall<Request, Response>, callback: sendUnaryData<Response>): void => {
    Promise.resolve(call.request)
      .then(method)
      .then(
        (response) => {
          callback(null, response);
        },
        (error: unknown) => {
          callback({ code: status.UNKNOWN, message: (error as Error).message });
        },
      );
  };
}

function refuseOthers(urn: string): void {
  // urn:pulumi:STACK::PROJECT::PARENT$TYPE::NAME
  const type = urn.split("::")[2]?.split("$").at(-1);
  if (type !== COMMAND) {
    throw new Error(
      `this stand-in for the command plugin has only ${COMMAND}; ${type ?? urn} needs the official one ` +
        `(pulumi plugin install resource command v${VERSION})`,
    );
  }
}

function properties(from: Struct | undefined): Properties {
  return from?.toJavaScript() ?? {};
}

function struct(from: Properties): Struct {
  return Struct.fromJavaScript(from);
}

const { Kind } = proto.PropertyDiff;
const KINDS: Record<Change, [update: proto.PropertyDiff.Kind, replace: proto.PropertyDiff.Kind]> = {
  add: [Kind.ADD, Kind.ADD_REPLACE],
  delete: [Kind.DELETE, Kind.DELETE_REPLACE],
  update: [Kind.UPDATE, Kind.UPDATE_REPLACE],
};

function differences(old: Properties, news: Properties): proto.DiffResponse {
  const { changes, properties: changed, replaces } = diff(old, news);
  const { DIFF_NONE, DIFF_SOME } = proto.DiffResponse.DiffChanges;
  const response = new proto.DiffResponse()
    .setChanges(changed.length > 0 ? DIFF_SOME : DIFF_NONE)
    .setDiffsList(changed)
    .setReplacesList(replaces)
    .setHasdetaileddiff(true);
  for (const [path, change] of changes) {
    const replace = replaces.some((key) => path === key || path.startsWith(`${key}[`));
    response.getDetaileddiffMap().set(path, new proto.PropertyDiff().setKind(KINDS[change][replace ? 1 : 0]));
  }
  return response;
}
