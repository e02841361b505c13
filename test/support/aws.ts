import { spawn } from "node:child_process";
import { mkdir } from "node:fs/promises";
import { connect, createServer, type AddressInfo } from "node:net";
import { join } from "node:path";
import { run } from "../../tools/run";
import { cacheDir } from "../../tools/sandbox/paths";
import { needPrograms } from "./programs";

const version = "5.1.4";

/** What speaks S3 and KMS, on this machine only. */
export interface Aws {
  url: string;
  /** Credentials and where KMS is, for the engine. */
  env: Record<string, string>;
  stop: () => void;
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

const answers = async (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.on("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.on("error", () => {
      resolve(false);
    });
  });

/** Starts moto, a server that stands in for AWS, with a bucket and a key under these names. */
export async function aws(bucket: string, alias: string): Promise<Aws> {
  const venv = join(cacheDir(), `moto-${version}`);
  const make = `
    [ -e "$1/complete" ] && exit
    python3 -m venv --clear "$1" && "$1/bin/pip" install --quiet "moto[server,s3,kms]==$2" && touch "$1/complete"`;
  await needPrograms("python3");
  await mkdir(cacheDir(), { recursive: true });
  await run("flock", [`${venv}.lock`, "sh", "-c", make, "sh", venv, version]);

  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const server = spawn(join(venv, "bin", "moto_server"), ["-H", "127.0.0.1", "-p", String(port)], { stdio: "ignore" });
  const stop = (): void => {
    server.kill();
  };
  const env = {
    AWS_ACCESS_KEY_ID: "testing",
    AWS_SECRET_ACCESS_KEY: "testing",
    AWS_REGION: "eu-central-1",
    AWS_DEFAULT_REGION: "eu-central-1",
    AWS_ENDPOINT_URL_KMS: url,
  };
  try {
    for (let tries = 0; !(await answers(port)); tries += 1) {
      if (tries > 150) throw new Error("moto_server does not listen");
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    const prepare = `
import boto3, sys
url, bucket, alias = sys.argv[1:]
boto3.client("s3", endpoint_url=url).create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
kms = boto3.client("kms", endpoint_url=url)
kms.create_alias(AliasName="alias/" + alias, TargetKeyId=kms.create_key()["KeyMetadata"]["KeyId"])`;
    await run(join(venv, "bin", "python"), ["-c", prepare, url, bucket, alias], { env: { ...process.env, ...env } });
    return { url, env, stop };
  } catch (error) {
    stop();
    throw error;
  }
}
