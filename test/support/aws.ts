import { spawn } from "node:child_process";
import { connect } from "node:net";
import { join } from "node:path";
import { freePort } from "../../toolchain/command-provider/testing/sshd";
import { pypi, pythonEnvironment } from "../../tools/python";
import { run } from "../../toolchain/run";

/** A server for S3 and KMS, on this machine only. */
export interface Aws {
  url: string;
  /** Credentials and the address of KMS, for the engine. */
  env: Record<string, string>;
  stop: () => void;
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
  const programs = await pythonEnvironment([pypi.moto]);
  const port = await freePort("127.0.0.1");
  const url = `http://127.0.0.1:${port}`;
  const server = spawn(join(programs, "moto_server"), ["-H", "127.0.0.1", "-p", String(port)], { stdio: "ignore" });
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
    await run(join(programs, "python"), ["-c", prepare, url, bucket, alias], { env: { ...process.env, ...env } });
    return { url, env, stop };
  } catch (error) {
    stop();
    throw error;
  }
}
