/**
 * The parts of the SDK that the program uses. The whole SDK takes three times as long to load as the rest of the program,
 * twice in each deployment, for unused parts: the automation API, and functions that become resources.
 */
export { RunError } from "@pulumi/pulumi/errors";
export * as log from "@pulumi/pulumi/log";
export { getOrganization, getProject, getStack } from "@pulumi/pulumi/metadata";
export { output, secret, unsecret, type Input, type Output } from "@pulumi/pulumi/output";
export {
  ComponentResource,
  CustomResource,
  type ComponentResourceOptions,
  type CustomResourceOptions,
  type Resource,
} from "@pulumi/pulumi/resource";
export { allConfig } from "@pulumi/pulumi/runtime/config";
export { isDryRun } from "@pulumi/pulumi/runtime/settings";
