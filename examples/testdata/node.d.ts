// What the example uses of Node, for a machine without @types/node.
declare const process: { env: { [name: string]: string | undefined }; exitCode: number };
declare const console: { log(text: string): void; error(text: string): void };
declare function setTimeout(then: (value?: unknown) => void, milliseconds: number): unknown;
declare class Buffer extends Uint8Array {
  writeUIntBE(value: number, offset: number, length: number): number;
  toString(encoding: "hex"): string;
}
declare module "crypto" {
  export function randomBytes(size: number): Buffer;
}
declare module "fs" {
  export function readFileSync(path: number, encoding: "utf8"): string;
}
declare module "events" {
  export class EventEmitter {
    on(name: string, listener: (...args: any[]) => void): this;
  }
}
